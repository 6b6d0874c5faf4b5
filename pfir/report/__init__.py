"""What a user reads afterwards."""
