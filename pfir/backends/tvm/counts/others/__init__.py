"""Instructions of kernels without weights: element-wise chains, pools, reductions, and what only moves values."""
