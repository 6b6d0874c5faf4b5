"""What a training step reads: samples in their order, augmented, and the teacher's outputs for them."""
