"""What a question may leave changed, as it was before: kept first, and put back after.

- ``contents``: a network's attributes, hooks and buffers.
- ``modes``: what a thread of torch is in, and its random numbers.
"""
