"""Making an output again from the record inside it.

rerun       the public function, and its result
question    the question that a record holds, asked again, and its answer written as it was
schema      what a record may hold, checked before anything in it is used
substitutes what a record names that the user has to give or to trust; its networks, opened again
find        pictures, data sets and files of a record, found again by their content
difference  what differs between an output and the one made again
"""
