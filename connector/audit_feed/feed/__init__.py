"""The edge to Microsoft's feed: sign-in, requests, rate limits, subscriptions."""
