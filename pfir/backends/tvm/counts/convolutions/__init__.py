"""Instructions of convolutions: direct ones, scheduled ones, Winograd's, and those whose channels do not mix."""
