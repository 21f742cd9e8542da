"""What everything stands on: plain text, logs, progress, interrupts."""
