"""What the daemon speaks with the platform: envelope, the seven calls, the codes, the client."""
