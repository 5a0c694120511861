-- A routing rule, as a PACS has it: a CT series that is complete goes to ICHD, by whatever door it came.
-- A whole series at once, and not each image: it is one association then, whose release tells ichd that no more comes.
-- By the REST API, because SendToModality of Orthanc 1.10 takes single instances alone.
-- What ichd sends back are SR, KO and OT, so that nothing runs in a circle.
function OnStableSeries(seriesId, tags, metadata)
   if tags['Modality'] == 'CT' then
      local order = {Resources = {seriesId}, Synchronous = false}
      RestApiPost('/modalities/ichd/store', DumpJson(order, true))
   end
end
