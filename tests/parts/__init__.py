"""The real parts that tests run against, each a fixture that starts it and stops it by its pid."""
