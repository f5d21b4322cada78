"""Processing on EMR Serverless: capacity, the package that a job runs from, and the job itself."""
