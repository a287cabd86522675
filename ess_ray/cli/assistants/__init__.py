"""What assistants may ask of a system, by the Model Context Protocol: reading only, in answers of a bounded size."""
