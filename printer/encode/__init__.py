"""A page as bytes for a printer (native, raster) or as a picture (png). The same document says the same in all three."""
