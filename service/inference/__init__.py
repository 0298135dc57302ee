"""The Open Inference Protocol (KServe v2) over HTTP with binary tensors, as Triton's clients speak it.

body --message.parse--> InferRequest: tensors, wanted outputs --engine--> arrays --message.render--> body
        datatypes: numpy <-> FP32, INT16, BF16 ...
"""
