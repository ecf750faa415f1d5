"""What several tests need: small networks, counters, broken disks, browsers, questions."""
