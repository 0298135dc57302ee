"""HTTP/1.1 below the app: uvicorn's protocol, with the limit of time that it lacks, and without its copies.

connection --Connection--> head --> h11 --> app --> answer --GatheredWrites--> connection
                           body of a declared length --Body--> app
"""
