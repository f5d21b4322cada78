{{ funnel_steps(var("funnels")) }}
