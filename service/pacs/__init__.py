"""The PACS node: series come in, their reconstructions go out, and nothing is lost, doubled or mislabelled.

    C-STORE, STOW-RS --arrivals--> source/ --complete?--> job --engine--> derived --outbox--> peers --verified--> gone
                     refused       fsync     rule         failed                    dead letter
                     quarantined

`configuration` says who may send what, and where it goes. The files of the spool are the truth, and DBOS
(`service.jobs.durable`) decides what runs when. `clearslice pacs listen` receives without the rest.
"""
