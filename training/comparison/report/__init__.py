"""The report of a study: one page that answers which recipe suits which degradation, and how sure that is.

    study folder --collect--> scores --analyse--> report.json --+--words-----> sentences, by rules from the numbers
                                                                +--markdown--> report.md
                                                                '--page------> report.html, self-contained

Everything that is shown is in report.json; page and Markdown only render it.
"""
