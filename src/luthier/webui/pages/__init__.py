"""The pages, one file each: `async def build(page)` draws what stands below the model bar."""
