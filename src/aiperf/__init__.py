"""How much load does a generative-AI server carry within its promises, and can the number be believed?"""

__version__ = "1.0.0"
