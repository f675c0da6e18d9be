"""The composition root: settings, the kaisatsu command, enrolment."""
