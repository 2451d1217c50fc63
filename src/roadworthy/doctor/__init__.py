"""What is there, what is missing, and the command that mends it: on a laptop and on a cluster."""
