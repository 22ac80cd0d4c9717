"""The Function app's triggers, a module each: discover, deliver, sweep, notify and health."""
