"""How weights become integers: to the nearest, or so that layers and blocks give what they gave."""
