"""Pages: what a report is made of, as plain data, and how it becomes one file.

blocks     what a page is made of, as plain data
html       a page as one HTML file
"""
