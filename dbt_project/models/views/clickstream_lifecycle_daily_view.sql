{{ lifecycle("day", 1, "this_day_value") }}
