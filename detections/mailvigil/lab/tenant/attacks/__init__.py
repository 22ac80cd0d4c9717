"""Attacks on the mail of a made-up tenant, each as the records that it would leave."""
