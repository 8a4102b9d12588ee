"""Errors about objects of Keras 3 that cannot be adapted."""


def refusal(
    expected: str, received: str, reason: str, remedy: str
) -> ValueError:
    """Returns the error for an object of Keras 3.

    Args:
      expected: what is accepted, such as "an optimizer of tf.keras".
      received: the object, such as "Lamb".
      reason: why it is not accepted, a clause that follows a comma, or "".
      remedy: what to do, a sentence without a full stop.
    """
    reason = reason and f", {reason}"
    return ValueError(
        f"Expected {expected}; received {received} of Keras 3{reason}. "
        f"{remedy}."
    )
