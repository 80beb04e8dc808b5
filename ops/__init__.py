"""What people who run Momentus use: command line, console, demo, and the processes beneath them."""
