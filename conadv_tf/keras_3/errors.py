"""Errors about objects of Keras 3 that cannot be adapted."""


def refusal(expected: str, received: str, remedy: str) -> ValueError:
    """Returns the error for an object of Keras 3.

    Args:
      expected: what is accepted, such as "an optimizer of tf.keras".
      received: the object, such as "Lamb of Keras 3".
      remedy: what to do, a sentence without its full stop.
    """
    return ValueError(f"Expected {expected}; received {received}. {remedy}.")
