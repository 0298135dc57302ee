"""The audit trail: who sent, got and asked for whose images, in the form of DICOM and IHE ATNA (PS3.15 A.5).

    the node --Trail--> messages: AuditMessage, XML --Backlog--> a thread --Sink--> a file, or a syslog collector
                                                    lost: counted            failed: tried again

This is the only place that writes patient data outside of images. The work never waits for it, and never fails of it.
What is sent is what RFC 5424 to 5426 and RFC 6587 say; they know no acknowledgement, so what lay in the network when a
collector died is gone. A file that a log shipper reads has no such gap.
"""
