"""What users do with rollouts: roll back, pause, resume, promote, abort, show the status."""
