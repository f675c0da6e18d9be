import tempfile, time, sys
from pathlib import Path
def main():
    from benchmarks import claims
    from benchmarks._claims_venue import quiet, venue_in
    quiet()
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".bench-") as f:
        if "mutant" in sys.argv:
            v=venue_in(Path(f)/"s", f"sqlite:///{f}/s/hub.db", gates=8)
            t=time.time()
            print(claims.contend(v,kills=0,partitions=0,scans=250,workers=1,seed=1,mutant="no lock"), time.time()-t)
        if "pg" in sys.argv:
            with claims.engine("postgresql", Path(f)/"p") as v:
                t=time.time()
                r,taken,lost=claims.asked(v,each=60,every_s=0,workers=2); print("rate",r,lost, sorted(taken)[len(taken)*99//100], time.time()-t, flush=True)
                t=time.time()
                print(claims.contend(v,kills=10,partitions=7,scans=300,workers=2,seed=1), time.time()-t)
if __name__=="__main__": main()
