"""The Open Inference Protocol without a transport: tensors, requests, and how a script is called with them."""
