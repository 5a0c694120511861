"""How a class and its probability read, wherever a person meets them."""


def class_label(name: str) -> str:
    """A class of the model for people."""
    return "Any haemorrhage" if name == "any" else name.capitalize()


def percent(probability: float) -> str:
    """0.9712 is `97.1 %`: around a threshold, whole numbers would look alike that are called differently.

    Never 0 or 100 %, which would claim a certainty that no model has.
    """
    value = probability * 100
    if value < 0.1:
        return "< 0.1 %"
    return "> 99.9 %" if value > 99.9 else f"{value:.1f} %"
