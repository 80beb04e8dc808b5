CASES=[]
Bad=object
