"""What an operator's hands need, anywhere: migrations, the gateway's configuration, tokens."""
