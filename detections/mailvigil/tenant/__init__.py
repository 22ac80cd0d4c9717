"""What is set up in a tenant for a collector, beside what a template deploys."""
