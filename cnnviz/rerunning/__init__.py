"""Making an output again from the record inside it.

rerun       the public function, and its result
question    the question that a record holds, asked again, and its answer written as it was
find        pictures, data sets, files and networks of a record, found again by their content
difference  what differs between an output and the one made again
"""
