"""What every section of a recipe is made of."""

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Share = Annotated[float, Field(ge=0.0, le=1.0)]
#: Lowest and highest value of a uniform draw.
Range = tuple[float, float]


class Part(BaseModel):
    """A section of a recipe: unknown keys and values of another type are errors, nothing changes after reading."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    @model_validator(mode="after")
    def _ranges_are_ordered(self) -> Self:
        for key in type(self).model_fields:
            value = getattr(self, key)
            if isinstance(value, tuple) and len(value) == 2 and value[0] > value[1]:
                raise ValueError(f"{key} runs from low to high, not from {value[0]} to {value[1]}")
        return self
