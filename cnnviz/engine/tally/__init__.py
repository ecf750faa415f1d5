"""What a scan of a data set keeps of every unit."""
