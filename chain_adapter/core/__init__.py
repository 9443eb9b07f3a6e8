"""Pure decisions: functions of values, no I/O, no clock, no await. Imports only chain and money."""
