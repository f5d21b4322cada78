{{ lifecycle("week", 7, "this_week_value") }}
