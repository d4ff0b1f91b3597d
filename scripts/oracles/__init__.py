"""What independent implementations say of the formats that come with lowbit, a module for each implementation.

Every module has `write(book)`, which hands tables of bytes and values to the book (`book.py`)."""
