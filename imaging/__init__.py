"""What an image is: files to and from pixels in physical units, image quality, and the physics of a low dose."""
