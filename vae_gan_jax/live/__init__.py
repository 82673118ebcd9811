"""The page to perform with: a server that plays a trained run, and its page.

As in a theatre, the desk holds the controls, the show plays them, and the stage is the picture that
everyone sees. A control's own ``stage`` is another thing: the step at which it acts.
"""
