"""The steps of the pipeline, one module each: files and settings in, files and facts out.

A step knows nothing of the engine that runs it. A component calls it with the paths of its
artifacts; a module per step keeps each step's imports to what it uses.
"""
