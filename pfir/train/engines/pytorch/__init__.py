"""Training graphs as PyTorch functions, differentiated by autograd.

Nothing outside this folder imports it but inside functions: importing PyTorch takes seconds, and it is an extra.
"""
