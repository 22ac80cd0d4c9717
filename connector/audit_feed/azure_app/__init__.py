"""The Function app: one step for each trigger, queues, settings, telemetry."""
