"""From a blob's bytes to request bodies: read records, filter, shape, cut into batches. Pure."""
