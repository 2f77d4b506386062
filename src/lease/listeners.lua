return listeners()
