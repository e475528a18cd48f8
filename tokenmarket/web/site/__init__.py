"""The frame of the pages people see."""
